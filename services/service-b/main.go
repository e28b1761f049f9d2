// Command service-b greets with "Hello from B" on port PORT; see service.go.
package main

import "os"

// version is set when the binary is linked.
var version = "dev"

func main() { os.Exit(Main("B", version)) }
