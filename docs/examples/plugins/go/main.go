// A callable plugin: `CGO_ENABLED=0 go build -o plugin .` for an executable,
// `GOOS=wasip1 GOARCH=wasm go build -o plugin.wasm .` for a WASI module.
package main

import (
	"encoding/json"
	"log"
	"os"
)

func main() {
	log.Print("ready") // standard error is the plugin's log
	requests, answers := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var r struct {
			ID, Command string
			Params      struct {
				Name string
				N    int
			}
		}
		if err := requests.Decode(&r); err != nil {
			return // lightning-rod has gone
		}
		say := func(what string, v any) { answers.Encode(map[string]any{"id": r.ID, what: v}) }
		switch r.Command {
		case "greet":
			say("result", map[string]string{"greeting": "hello " + r.Params.Name})
		case "count":
			for i := range r.Params.N {
				say("output", i+1)
			}
			say("result", r.Params.N)
		case "": // {"id": "7", "cancel": true}: what is asked for here is over soon
		default:
			say("error", "there is no such command")
		}
	}
}
