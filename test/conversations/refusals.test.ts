import t, { type Test } from 'tap';
import { openTestFrontDoor } from '../support/front-door.js';
import { type Conversation, readCapture } from './capture.js';
import { ReplayedClient, ReplayedCluster } from './replay.js';

const UPGRADE = /\r\nUpgrade: (\S+)\r\n/i;

/** Google's JSON, which is no Status. */
const GOOGLE = '"status": "PERMISSION_DENIED"';

interface Refusal {
  readonly code: number;
  readonly body: string;
}

function refusalOf(head: string, body: Buffer): Refusal {
  return { code: Number(head.split(' ')[1]), body: body.toString('utf8') };
}

/** What the recorded cluster said, in the form in which the client has to hear it. */
function assertTold(t: Test, told: Refusal, recorded: Conversation): void {
  const original = refusalOf(recorded.head('server'), recorded.rest('server'));
  if (original.body.includes(GOOGLE)) {
    const status = JSON.parse(told.body) as { kind: string; code: number; message: string };
    t.equal(status.kind, 'Status', "kubectl prints nothing of Google's own form");
    t.equal(status.code, told.code);
    t.match(status.message, (JSON.parse(original.body) as { error: { message: string } }).error.message);
  } else if (original.body.startsWith('{')) t.strictSame(told, original, "the cluster's own words, byte for byte");
  else {
    t.equal(told.code, original.code);
    t.match(told.body, original.body);
  }
}

for (const name of [
  ...['1.27', '1.30', '1.33', '1.36'].map((version) => `real-${version}-attach`),
  'real-1.36-attach-tty',
  ...['1.30', '1.31', '1.32', '1.33'].map((version) => `fake-${version}-exec-i-wsreject403google-then-spdy`),
]) {
  t.test(`${name}: what refuses a WebSocket is told to every try`, async (t) => {
    const at = await openTestFrontDoor();
    t.teardown(() => at.close());
    const cluster = new ReplayedCluster(at);
    const tries = readCapture(name).filter((recorded) => UPGRADE.test(recorded.head('client')));
    // The recorded cluster may have taken the second try, which no Connect gateway does.
    const [refused] = tries;
    if (refused === undefined) throw new Error('no upgrade was recorded');
    for (const recorded of tries) {
      const client = await ReplayedClient.knock(at, recorded);
      if (recorded === refused) {
        const call = await cluster.call();
        t.equal(call.header('upgrade'), 'websocket');
        call.write(refused.bytes('server'));
        call.end();
      }
      const head = await client.head();
      await client.heard.until(() => false);
      assertTold(t, refusalOf(head, client.rest), refused);
    }
    t.equal(cluster.unannounced, 0, 'the second try does not reach the cluster');
  });
}
