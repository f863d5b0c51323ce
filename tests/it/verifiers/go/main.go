// An upstream that verifies with verifiers/go: `go run . TOKEN…`. The first segment of the path says the scheme.
// Says `listening PORT`, then answers 200 with who calls as JSON, or 401.
package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"

	countersign "github.com/countersign/countersign/verifiers/go"
)

func who(writer http.ResponseWriter, request *http.Request) {
	identity, _ := countersign.From(request.Context())
	writer.Header().Set("Content-Type", "application/json")
	json.NewEncoder(writer).Encode(map[string]string{"user": identity.User, "name": identity.Name})
}

func main() {
	verifying := map[string]http.Handler{}
	for _, scheme := range countersign.Schemes {
		verifier, err := countersign.New(countersign.Options{Scheme: scheme, Tokens: os.Args[1:], Project: "demo", AppID: "1001"})
		if err != nil {
			panic(err)
		}
		verifying[scheme] = verifier.Handler(http.HandlerFunc(who))
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println("listening", listener.Addr().(*net.TCPAddr).Port)
	panic(http.Serve(listener, http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		verifying[strings.Split(request.URL.Path, "/")[1]].ServeHTTP(writer, request)
	})))
}
