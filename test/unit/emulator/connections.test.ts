import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { Connections } from '../../../src/emulator/google/connections.js';

/** Both ends of a connection that the emulator knows. */
async function pair(t: Test, connections: Connections): Promise<{ ours: Socket; client: Socket }> {
  const server = createServer({ allowHalfOpen: true }, (tcp) => connections.add(tcp));
  t.teardown(() => server.close());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const accepted = once(server, 'connection');
  const client = connect({ port: (server.address() as AddressInfo).port, allowHalfOpen: true });
  client.on('error', () => {});
  t.teardown(() => client.destroy());
  const [ours] = (await accepted) as [Socket];
  return { ours, client };
}

for (const [name, reset] of [
  ['reset', (connections: Connections, socket: Socket) => connections.reset(socket)],
  ['resetBelow', (connections: Connections, socket: Socket) => connections.resetBelow(socket)],
] as const) {
  t.test(`${name}: the client sees a reset`, async (t) => {
    const connections = new Connections();
    const { ours, client } = await pair(t, connections);
    const failed = once(client, 'error');
    client.resume();
    reset(connections, ours);
    t.match(await failed, [{ code: 'ECONNRESET' }]);
  });

  t.test(`${name}: what is just being shut down is closed, and no connection is left`, async (t) => {
    const connections = new Connections();
    const { ours, client } = await pair(t, connections);
    const [closed, ended] = [once(ours, 'close'), once(client, 'end')];
    client.resume();
    ours.end('bye');
    // The shutdown has been asked for, and is done in the next turn of the loop.
    process.nextTick(() => process.nextTick(() => reset(connections, ours)));
    await Promise.all([closed, ended]);
    t.equal(ours.destroyed, true);
  });
}
