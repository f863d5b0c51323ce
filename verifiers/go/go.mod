module github.com/countersign/countersign/verifiers/go

go 1.19
