package schema

import (
	"container/list"
	"crypto/sha256"
	"sync"
)

// Cache keeps the schemas that were used last, compiled: one for all who have the
// same.
type Cache struct {
	most int

	mu    sync.Mutex                          // guards the fields below; not held while one is compiled
	found map[[sha256.Size]byte]*list.Element // of order
	order list.List                           // of *cached, the one that was used last in front
}

type cached struct {
	digest [sha256.Size]byte
	schema *Schema
	err    error
}

// NewCache returns a cache of so many schemas.
func NewCache(most int) *Cache {
	return &Cache{most: most, found: map[[sha256.Size]byte]*list.Element{}}
}

// Get returns the schema of a text, as [Compile] does.
func (c *Cache) Get(text []byte) (*Schema, error) {
	digest := sha256.Sum256(text)
	c.mu.Lock()
	if e := c.found[digest]; e != nil {
		c.order.MoveToFront(e)
		c.mu.Unlock()
		return e.Value.(*cached).schema, e.Value.(*cached).err
	}
	c.mu.Unlock()
	s, err := Compile(text)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.found[digest] == nil {
		c.found[digest] = c.order.PushFront(&cached{digest, s, err})
	}
	for c.order.Len() > c.most {
		oldest := c.order.Back()
		delete(c.found, oldest.Value.(*cached).digest)
		c.order.Remove(oldest)
	}
	return s, err
}
