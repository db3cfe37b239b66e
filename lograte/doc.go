// Package lograte keeps the log from being filled by strangers: what anybody may
// cause, as often as they like, is one line a minute that says how often.
package lograte
