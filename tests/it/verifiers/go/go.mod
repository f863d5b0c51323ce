module countersign-it

go 1.19

require github.com/countersign/countersign/verifiers/go v0.0.0

replace github.com/countersign/countersign/verifiers/go => ../../../../verifiers/go
