package cloud

import (
	"net/http"
	"net/url"
	"strings"
)

// below serves h below the paths of URLs too: a reverse proxy that has put the cloud there may
// take the path off its requests, or leave it.
func below(h http.Handler, urls ...string) http.Handler {
	var paths []string
	for _, text := range urls {
		if u, err := url.Parse(text); err == nil && strings.Trim(u.Path, "/") != "" {
			paths = append(paths, strings.TrimRight(u.Path, "/"))
		}
	}
	if len(paths) == 0 {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, path := range paths {
			rest, is := strings.CutPrefix(r.URL.Path, path)
			if rest == "" && is { // links within the pages begin at their folder
				http.Redirect(w, r, path+"/", http.StatusPermanentRedirect)
				return
			}
			if is && rest[0] == '/' {
				http.StripPrefix(path, h).ServeHTTP(w, r)
				return
			}
		}
		h.ServeHTTP(w, r)
	})
}
