//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// What calls the functions of the page, in the order in which somebody would.
const callsAll = `
import assert from 'node:assert'
const [, , first, second] = process.argv
const until = async (what, holds) => {
  for (let n = 0; n < 300; n++) {
    if (await holds()) return
    await new Promise((done) => setTimeout(done, 100))
  }
  throw new Error('not in time: ' + what)
}
const events = []
const followed = follow((e) => events.push(e))
await until('the initial event', () => events.some((e) => e.type === 'initial' && e.instance.id === '********'))

const made = await setupServers([
  { role: 'primary', port: first, target: '127.0.0.1:' + second },
  { role: 'backup', port: second, target: '127.0.0.1:' + first },
])
const [primary, backup] = made
assert.equal((await findByAlias('primary-' + first)).id, primary.id)
assert.equal((await getInstance(primary.id)).restart, true)
assert.equal((await getInstance(backup.id)).restart, false)
await until('it is created', () => events.some((e) => e.type === 'create' && e.instance.id === primary.id))
await until('it runs or says why not', async () => (await getInstance(primary.id)).status !== 'stopped')

await control(primary.id, 'stop')
await until('it is stopped', async () => (await getInstance(primary.id)).status === 'stopped')
await guard(made)
assert.equal((await getInstance(backup.id)).restart, true)
await control(primary.id, 'start')
await until('it is started', async () => (await getInstance(primary.id)).status !== 'stopped')
await control(primary.id, 'restart')
await updateAll(primary.id, 'all', 'stop', false)
const all = await findByAlias('all')
assert.equal(all.restart, false)
await resetTraffic(primary.id)
assert.deepEqual(await traffic(primary.id, 0.1), { tcprx: 0, tcptx: 0, udprx: 0, udptx: 0 })
const url = (await getInstance(primary.id)).url + '&max=7'
await updateURL(primary.id, url)
assert.equal((await getInstance(primary.id)).url.includes('max=7'), true)
await assert.rejects(updateURL(primary.id, url), /409/)
assert.match(await uptime(), /^v1\..* on linux\//)

let old = apiKey
assert.notEqual(await regenerateKey(), old)
assert.equal((await listInstances()).length, 2)
apiKey = [old, old = apiKey][0]
await assert.rejects(listInstances(), /401/)
apiKey = old
for (const m of made) await deleteInstance(m.id)
await until('events go on with the new key', () => events.some((e) => e.type === 'delete' && e.instance.id === backup.id) ||
  events.filter((e) => e.type === 'initial' && e.instance.id === '********').length > 1)
assert.deepEqual(await listInstances(), [])
followed.stop()
await followed.done
console.log('all done')
`

// The page's JavaScript, put together, does what it says against a cluster.
func TestTheJavaScriptInTheDocsRuns(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("SKIPPED: there is no Node.js to run docs/nodepass.md with")
	}
	page, err := os.ReadFile("../../docs/nodepass.md")
	if err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	for _, m := range regexp.MustCompile("(?ms)^```js\n(.*?)^```$").FindAllSubmatch(page, -1) {
		script.Write(m[1])
	}
	c := newCluster(t, 1, 1)
	key := c.createKey(&signalboxv1.ApiKey{Name: "panel", Scopes: []string{"instances:write", "events:read"}})
	there := strings.NewReplacer(
		"'http://127.0.0.1:8001/api/v1'", "'http://"+c.planes[0].api+"/api/v1'",
		"'the secret of an API key'", "'"+key+"'",
	)
	file := filepath.Join(t.TempDir(), "page.mjs")
	if err := os.WriteFile(file, []byte(there.Replace(script.String())+callsAll), 0o600); err != nil {
		t.Fatal(err)
	}
	port := func() string {
		addr := freeAddr(t)
		return addr[strings.LastIndexByte(addr, ':')+1:]
	}
	out, err := exec.CommandContext(t.Context(), node, file, port(), port()).CombinedOutput()
	if err != nil || !strings.HasSuffix(string(out), "all done\n") {
		t.Errorf("%v\n%s", err, out)
	}
}
