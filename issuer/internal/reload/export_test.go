package reload

import "context"

// Look looks at the file once, as Run does each second.
func Look[T any](ctx context.Context, f *File[T]) {
	f.settle(ctx)
	f.look(ctx, false)
}
