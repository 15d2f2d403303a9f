package pkcs11

import "sync"

// A guarded library is initialized again only while no call is in it: to
// finalize a library during a call is undefined (PKCS #11 v3.1, Section 5.4.2).
type guarded struct {
	library

	calls sync.RWMutex
}

// restart finalizes and initializes the library, unless a call is in it. That
// ends all sessions and handles.
func (g *guarded) restart() error {
	if !g.calls.TryLock() {
		return nil
	}
	defer g.calls.Unlock()
	_ = g.Finalize() // an earlier attempt may have finalized it
	return g.Initialize()
}

func (g *guarded) Info() (libraryInfo, error) {
	g.calls.RLock()
	defer g.calls.RUnlock()
	return g.library.Info()
}

func (g *guarded) Slots() ([]uint, error) {
	g.calls.RLock()
	defer g.calls.RUnlock()
	return g.library.Slots()
}

func (g *guarded) SlotInfo(slot uint) (slotInfo, error) {
	g.calls.RLock()
	defer g.calls.RUnlock()
	return g.library.SlotInfo(slot)
}

func (g *guarded) TokenInfo(slot uint) (tokenInfo, error) {
	g.calls.RLock()
	defer g.calls.RUnlock()
	return g.library.TokenInfo(slot)
}

func (g *guarded) OpenSession(slot uint) (uint, error) {
	g.calls.RLock()
	defer g.calls.RUnlock()
	return g.library.OpenSession(slot)
}

func (g *guarded) CloseSession(session uint) error {
	g.calls.RLock()
	defer g.calls.RUnlock()
	return g.library.CloseSession(session)
}

func (g *guarded) LoggedIn(session uint) (bool, error) {
	g.calls.RLock()
	defer g.calls.RUnlock()
	return g.library.LoggedIn(session)
}

func (g *guarded) Login(session uint, pin string) error {
	g.calls.RLock()
	defer g.calls.RUnlock()
	return g.library.Login(session, pin)
}

func (g *guarded) Find(session uint, template []attribute, most int) ([]uint, error) {
	g.calls.RLock()
	defer g.calls.RUnlock()
	return g.library.Find(session, template, most)
}

func (g *guarded) Read(session, object uint, types ...uint) ([][]byte, error) {
	g.calls.RLock()
	defer g.calls.RUnlock()
	return g.library.Read(session, object, types...)
}

func (g *guarded) Sign(session, mechanism, key uint, data []byte) ([]byte, error) {
	g.calls.RLock()
	defer g.calls.RUnlock()
	return g.library.Sign(session, mechanism, key, data)
}
