package reload

import (
	"context"
	"os"
	"time"
)

const (
	// poll is how often Run looks at the file.
	poll = time.Second
	// quiet is how long a file must stay the same before it is read, and
	// patience how long to wait for that.
	quiet    = 100 * time.Millisecond
	patience = time.Second
)

// Run keeps the value up to date until ctx is done, and then returns nil. Call
// it once.
func (f *File[T]) Run(ctx context.Context) error {
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for asked := false; ; {
		f.settle(ctx)
		if event, news := f.look(ctx, asked); news && f.config.OnReload != nil {
			f.config.OnReload(event)
		}
		select {
		case <-ticker.C:
			asked = false
		case <-f.asked:
			asked = true
		case <-ctx.Done():
			return nil
		}
	}
}

// settle waits while the file is changing.
func (f *File[T]) settle(ctx context.Context) {
	last := f.past.info
	for range patience / quiet {
		info, _ := os.Stat(f.config.Path) // nil if there is none
		if same(last, info) {
			return
		}
		last = info
		select {
		case <-time.After(quiet):
		case <-ctx.Done():
			return
		}
	}
}
