import { readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { pipeline } from 'node:stream';
import { connect, createServer } from 'node:tls';

/** TLS on both sides and nothing but bytes between: `raw-pipe CERT KEY CA PORT` prints its own port. */
const [certFile = '', keyFile = '', caFile = '', port = ''] = process.argv.slice(2);
const ca = readFileSync(caFile);

const server = createServer({ cert: readFileSync(certFile), key: readFileSync(keyFile) }, (near) => {
  const far = connect({ host: '127.0.0.1', port: Number(port), ca });
  const done = (): void => {
    near.destroy();
    far.destroy();
  };
  pipeline(near, far, done);
  pipeline(far, near, done);
});
server.listen(0, '127.0.0.1', () => console.log(`pipe ${(server.address() as AddressInfo).port}`));
