import { readFileSync } from 'node:fs';
import { connect as connectTls, createSecureContext } from 'node:tls';
import { systemClock } from '../../../src/base/clock.js';
import { upstreamAddress } from '../../../src/gateway/address.js';
import type { Dialer } from '../../../src/gateway/dial.js';
import { Http1Client } from '../../../src/gateway/http1-client.js';
import { Http2Client } from '../../../src/gateway/http2-client.js';

/**
 * Drives one candidate in a process of its own: `drive h1|h2 requests|watches URL CA CONCURRENCY SECONDS` prints one line of JSON. The
 * CPU and memory are those of the candidate alone.
 */
const [name = '', what = '', url = '', caFile = '', concurrencyText = '', secondsText = ''] = process.argv.slice(2);
const concurrency = Number(concurrencyText);
const seconds = Number(secondsText);
const address = upstreamAddress(url);

function dialer(protocol: string): Dialer {
  const secureContext = createSecureContext({ ca: readFileSync(caFile) });
  let session: Buffer | undefined;
  return {
    dial: ({ hostname, port }) =>
      new Promise((resolve, reject) => {
        const socket = connectTls({
          host: hostname,
          port,
          secureContext,
          ALPNProtocols: [protocol],
          ...(session === undefined ? {} : { session }),
        });
        socket.setNoDelay(true);
        socket.on('session', (ticket) => {
          session = ticket;
        });
        socket.once('secureConnect', () => resolve(socket)).once('error', reject);
      }),
  };
}

const http1 = new Http1Client({ dialer: dialer('http/1.1'), clock: systemClock });
const http2 = new Http2Client({ dialer: dialer('h2'), http1, clock: systemClock });
const candidate = name === 'h1' ? http1 : http2;

/** Resolves with the bytes of the body; of a watch, at its first byte. */
function get(path: string, onFirst?: () => void): Promise<number> {
  return new Promise((resolve, reject) => {
    let bytes = 0;
    candidate.send(
      {
        address,
        method: 'GET',
        target: `${address.pathPrefix}${path}`,
        headers: ['Authorization', 'Bearer x', 'Accept', 'application/json', 'User-Agent', 'bench'],
        body: null,
        headersTimeoutMs: 0,
      },
      {
        information: () => {},
        head: () => {},
        data: (chunk) => {
          if (bytes === 0) onFirst?.();
          bytes += chunk.length;
          return true;
        },
        end: () => resolve(bytes),
        failed: reject,
      },
    );
  });
}

const ms = (): number => performance.now();
const cpu = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};
const rss = (): number => {
  globalThis.gc?.();
  return process.memoryUsage().rss / 1024 ** 2;
};

/** All at once from nothing: what a burst of clients meets after a pause. */
async function burst(): Promise<number> {
  const begun = ms();
  await Promise.all(Array.from({ length: concurrency }, () => get('/small')));
  return ms() - begun;
}

async function steady(): Promise<{ perSecond: number; p50: number; p99: number; cpuMs: number }> {
  const times: number[] = [];
  const begun = ms();
  const cpuBefore = cpu();
  const one = async (): Promise<void> => {
    while (ms() - begun < seconds * 1000) {
      const sent = ms();
      await get('/small');
      times.push(ms() - sent);
    }
  };
  await Promise.all(Array.from({ length: concurrency }, one));
  const took = (ms() - begun) / 1000;
  times.sort((a, b) => a - b);
  const at = (part: number): number => times[Math.floor(part * (times.length - 1))] ?? Number.NaN;
  return { perSecond: times.length / took, p50: at(0.5), p99: at(0.99), cpuMs: (cpu() - cpuBefore) / times.length };
}

async function large(): Promise<number> {
  await get('/large');
  const begun = ms();
  await get('/large');
  return ms() - begun;
}

/** How long until all are open, and what each keeps of memory. */
async function watches(): Promise<{ openMs: number; openCpuMs: number; kibEach: number }> {
  await get('/small');
  const before = rss();
  const begun = ms();
  const cpuBefore = cpu();
  await Promise.all(
    Array.from(
      { length: concurrency },
      () => new Promise<void>((resolve) => void get('/watch', resolve).catch(() => {})),
    ),
  );
  const openMs = ms() - begun;
  const openCpuMs = cpu() - cpuBefore;
  await new Promise((resolve) => setTimeout(resolve, 1000));
  return { openMs, openCpuMs, kibEach: ((rss() - before) * 1024) / concurrency };
}

const figures =
  what === 'watches' ? await watches() : { burstMs: await burst(), ...(await steady()), largeMs: await large() };
console.log(JSON.stringify(figures));
candidate.close();
process.exit(0);
