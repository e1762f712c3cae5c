package cluster

import "sync"

// queue passes values to one reader in their order. It has no bound of its own, because its writers must not block. Who
// writes for a reader that others can hold up looks at len.
type queue[T any] struct {
	filled chan struct{} // has a token while there may be values
	mu     sync.Mutex
	values []T
}

func newQueue[T any]() *queue[T] { return &queue[T]{filled: make(chan struct{}, 1)} }

func (q *queue[T]) push(v ...T) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.values = append(q.values, v...)
	select {
	case q.filled <- struct{}{}:
	default:
	}
}

// take returns all values and leaves none.
func (q *queue[T]) take() []T {
	q.mu.Lock()
	defer q.mu.Unlock()
	v := q.values
	q.values = nil
	return v
}

func (q *queue[T]) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.values)
}
