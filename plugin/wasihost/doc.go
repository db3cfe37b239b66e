// Package wasihost runs a WASI preview 1 module as a process: `lightning-rod
// plugin-host` is a plugin's process, so that limits and kill concern it alone. With
// the build tag nowasi it is left out, for boards on which it has no room.
package wasihost
