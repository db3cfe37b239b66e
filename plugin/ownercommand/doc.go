// Package ownercommand has the commands that the owner of a board defines, a file of a
// folder each (commands.d/NAME.toml): an argument list, never a shell. The files are
// read again when one of them changes.
package ownercommand
