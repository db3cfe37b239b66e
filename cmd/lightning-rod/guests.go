package main

import (
	"errors"
	"io/fs"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/lightningrod"
	"github.com/stack4things/s4t/plugin/bundle"
)

// stubCommand is not shown: it becomes a guest.
const stubCommand = "plugin-exec"

// maxPluginKey bounds a file of --plugin-key, in bytes.
const maxPluginKey = 4096

// guests is what the owner says of code of others.
func (o options) guests() (*lightningrod.GuestsConfig, error) {
	cfg := &lightningrod.GuestsConfig{Stub: []string{"/proc/self/exe", stubCommand}, AllowNetwork: o.pluginNetwork, Commands: o.commands}
	for _, text := range o.pluginKeys {
		key, err := bundle.ParsePublicKey(text)
		if err != nil {
			key, err = keyOfFile(text)
		}
		if err != nil {
			return nil, err
		}
		cfg.Keys = append(cfg.Keys, key)
	}
	return cfg, nil
}

// keyOfFile reads a public key that is in a file.
func keyOfFile(path string) ([]byte, error) {
	op := "read --plugin-key " + s4t.Line(path, maxLine)
	const hint = "give a key as `s4t plugin show` prints it, or a file that holds one"
	text, err := readBounded(path, maxPluginKey)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, s4t.Errorf(s4t.Invalid, op, hint, "it is neither a key nor a file that is there")
	}
	if err != nil {
		return nil, s4t.Errorf(s4t.Invalid, op, hint, "%w", err)
	}
	key, err := bundle.ParsePublicKey(string(text))
	if err != nil {
		return nil, s4t.Errorf(s4t.Invalid, op, hint, "%w", err)
	}
	return key, nil
}
