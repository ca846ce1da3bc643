// Go's net/http as a server that says what it understood; see echo.c.
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
)

func echo(w http.ResponseWriter, r *http.Request) {
	n, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		w.Header().Set("Connection", "close")
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("X-Echo", fmt.Sprintf("%s %s %d", r.Method, r.URL.EscapedPath(), n))
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	log.SetOutput(io.Discard)
	log.Fatal(http.Serve(listener, http.HandlerFunc(echo)))
}
