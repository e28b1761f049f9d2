// Command service-a greets with "Hello from A" on port PORT; see service.go.
package main

import "os"

// version is set when the binary is linked.
var version = "dev"

func main() { os.Exit(Main("A", version)) }
