package howto_test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/customersession/customersession/deploy/rig/needs"
)

func TestPHP(t *testing.T) {
	t.Parallel()
	php := needs.Program(t, "php", "install PHP 8.1 or newer")
	d := startDev(t)
	folder, port := write(t, blocks(t, "php.md", pageIssuer, d.base)), freePort(t)
	run(t, folder, php, "-q", "-S", "127.0.0.1:"+port, "portal.php")
	base := "http://127.0.0.1:" + port + "/"
	checkPortal(t, d, base, base, base)

	// An issuer that is down is not a session that has ended.
	down := write(t, blocks(t, "php.md", pageIssuer, "http://127.0.0.1:1"))
	port = freePort(t)
	run(t, down, php, "-q", "-S", "127.0.0.1:"+port, "portal.php")
	token := d.create(t, "user_ada")
	answer := send(t, http.MethodGet, "http://127.0.0.1:"+port+"/", http.Header{"Cookie": {cookieName + "=" + token}}, "")
	if _, set := answer.cookie(); answer.status != http.StatusServiceUnavailable || set {
		t.Errorf("with the issuer down: got %d, %v", answer.status, answer.header)
	}
}

// nextConfig lets Next.js follow the link to its packages.
const nextConfig = `export default { turbopack: { root: "/" } };`

func TestNextJS(t *testing.T) {
	t.Parallel()
	node := needs.Program(t, "node", "install Node.js 20 or newer")
	project := needs.Path(t, "testdata/nextjs/node_modules", "run npm ci --prefix deploy/howto/testdata/nextjs")
	d := startDev(t)
	files := blocks(t, "nextjs.md", pageIssuer, d.base)
	files["next.config.mjs"] = nextConfig
	files["app/layout.js"] = `export default ({ children }) => <html lang="en"><body>{children}</body></html>;`
	folder, port := write(t, files), freePort(t)
	packages, err := filepath.Abs(project)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(packages, filepath.Join(folder, "node_modules")); err != nil {
		t.Fatal(err)
	}
	run(t, folder, node, "node_modules/next/dist/bin/next", "dev", "--port", port, "--hostname", "127.0.0.1")
	base := "http://127.0.0.1:" + port + "/portal"
	checkPortal(t, d, base+"/open", base, base+"/sign-out")
}
