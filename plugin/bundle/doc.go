// Package bundle is the form in which a plugin travels: a folder with a manifest,
// plugin.toml, packed as tar.gz, named by its SHA-256, and signed.
package bundle
