// Package dashboard serves the pages of a cloud to browsers: a bundle that is built
// from src by `make dashboard`, committed in dist, and part of the program. The pages
// speak /v1 as every client does, and decide nothing; package api has the sessions of
// browsers, and docs/security.md says what keeps one from the others.
package dashboard
