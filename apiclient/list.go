package apiclient

import (
	"context"
	"iter"
	"net/http"
	"strconv"
	"strings"

	"github.com/stack4things/s4t"
)

// List is a list of the API. It is read page by page, as far as it is wanted.
type List[T any] struct {
	c    *Client
	what string // names the attempt for errors
	path string // of the first page, without a limit
}

// maxPage is the most objects that the API puts on one page.
const maxPage = 500

// Each yields the objects, and ends with the first error. What comes or goes
// while it is read may be on it or not; everything else is on it once.
func (l List[T]) Each(ctx context.Context) iter.Seq2[T, error] {
	return l.each(ctx, 0)
}

// All returns the whole list.
func (l List[T]) All(ctx context.Context) ([]T, error) { return l.First(ctx, 0) }

// First returns the first n objects; 0 means all.
func (l List[T]) First(ctx context.Context, n int) ([]T, error) {
	all := []T{}
	for v, err := range l.each(ctx, n) {
		if err != nil {
			return nil, err
		}
		if all = append(all, v); len(all) == n {
			break
		}
	}
	return all, nil
}

// each asks for pages of at most n objects; 0: as many as there may be.
func (l List[T]) each(ctx context.Context, n int) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		p := l.path
		if n > 0 && n < maxPage {
			sep := "?"
			if strings.Contains(p, "?") {
				sep = "&"
			}
			p += sep + "limit=" + strconv.Itoa(n)
		}
		for p != "" {
			var page []T
			next, err := l.c.page(ctx, l.what, p, &page)
			if err == nil && next == p {
				err = s4t.Errorf(s4t.Internal, l.what, "", "a page leads to itself")
			}
			if err != nil {
				yield(zero, err)
				return
			}
			for _, v := range page {
				if !yield(v, nil) {
					return
				}
			}
			p = next
		}
	}
}

// page reads one page of a list and returns the path of the next.
func (c *Client) page(ctx context.Context, what, path string, reply any) (next string, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	res, err := c.open(ctx, what, "GET", path, nil, nil)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	return c.nextPage(res.Header), c.decode(ctx, what, res, reply)
}

// nextPage is the path of the next page (RFC 8288). It is one of the API: the
// token goes nowhere else.
func (c *Client) nextPage(h http.Header) string {
	for _, link := range h.Values("Link") {
		path, isNext := strings.CutSuffix(link, `>; rel="next"`)
		path, ok := strings.CutPrefix(path, "<")
		path = strings.TrimPrefix(path, c.base.EscapedPath()) // where a proxy has put the cloud
		if ok && isNext && strings.HasPrefix(path, "/v1/") {
			return path
		}
	}
	return ""
}
