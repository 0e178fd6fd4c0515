import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import * as https from 'node:https';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

export const GATEWAY_PATH = '/v1/projects/1/locations/global/memberships/bench';
export const GOOGLE_TOKEN = 'ya29.bench-token';
export const MEBIBYTE = 1024 * 1024;
/** To the client as `kubectl proxy` speaks. */
export const OVER_HTTP = 'daemon, plain HTTP';

/** One way to the origin: what a client connects to, and the processes whose CPU and memory it costs. */
export interface Contestant {
  readonly name: string;
  /** The Kubernetes API root. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  pids(): readonly number[];
}

export async function freePort(): Promise<number> {
  return await new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}

/** A CA and a server certificate for 127.0.0.1, by openssl, so that the benchmark shares nothing with the product. */
export function makeCertificates(folder: string): { ca: string; cert: string; key: string } {
  const file = (name: string): string => join(folder, name);
  const openssl = (...args: string[]): void => {
    execFileSync('openssl', args, { stdio: 'pipe', cwd: folder });
  };
  const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  openssl('req', '-x509', ...ec, '-keyout', 'ca.key', '-out', 'ca.pem', '-subj', '/CN=bench ca', '-days', '2');
  openssl('req', ...ec, '-keyout', 'leaf.key', '-out', 'leaf.csr', '-subj', '/CN=localhost');
  writeFileSync(file('leaf.ext'), 'subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth\n');
  openssl(
    'x509',
    '-req',
    '-in',
    'leaf.csr',
    '-CA',
    'ca.pem',
    '-CAkey',
    'ca.key',
    '-CAcreateserial',
    '-days',
    '2',
    '-extfile',
    'leaf.ext',
    '-out',
    'leaf.pem',
  );
  return { ca: file('ca.pem'), cert: file('leaf.pem'), key: file('leaf.key') };
}

/** nginx with one server block; answers the master's children for the CPU account. */
export function startNginx(o: { folder: string; name: string; http: string }): ChildProcess {
  const home = join(o.folder, o.name);
  mkdirSync(home, { recursive: true });
  const config = join(home, 'nginx.conf');
  // Started by root it would serve the folder as another user, who may not read it.
  const user = process.getuid?.() === 0 ? 'user root; ' : '';
  writeFileSync(
    config,
    `${user}daemon off; worker_processes 1; pid ${home}/pid; error_log ${home}/error.log;
events { worker_connections 1024; }
http { access_log off; client_body_temp_path ${home}/b; proxy_temp_path ${home}/p; fastcgi_temp_path ${home}/f; uwsgi_temp_path ${home}/u; scgi_temp_path ${home}/s;
keepalive_requests 100000000; keepalive_timeout 600s; ssl_session_cache shared:S:1m;
${o.http}
}`,
  );
  return spawn('nginx', ['-p', home, '-c', config], { stdio: ['ignore', 'ignore', 'inherit'] });
}

/** The gateway's stand-in: nginx, faster than all that stands before it, and it checks Google's token. */
export function originConfig(o: { port: number; cert: string; key: string; folder: string }): string {
  const root = join(o.folder, 'www');
  mkdirSync(join(root, GATEWAY_PATH, 'api/v1'), { recursive: true });
  const item = { kind: 'Pod', metadata: { name: 'a', annotations: { filler: 'x'.repeat(2900) } } };
  writeFileSync(join(root, GATEWAY_PATH, 'api/v1/small'), JSON.stringify(item));
  writeFileSync(join(root, GATEWAY_PATH, 'api/v1/large'), Buffer.alloc(20 * MEBIBYTE, 'x'));
  return `server { listen 127.0.0.1:${o.port} ssl; ssl_certificate ${o.cert}; ssl_certificate_key ${o.key};
root ${root}; default_type application/json; etag off;
location / { if ($http_authorization != "Bearer ${GOOGLE_TOKEN}") { return 401; } } }`;
}

export function proxyConfig(o: { port: number; originPort: number; cert: string; key: string }): string {
  return `upstream origin { server 127.0.0.1:${o.originPort}; keepalive 64; keepalive_requests 100000000; }
server { listen 127.0.0.1:${o.port} ssl; ssl_certificate ${o.cert}; ssl_certificate_key ${o.key};
location / { if ($http_authorization != "Bearer local") { return 401; }
proxy_pass https://origin${GATEWAY_PATH}/; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
proxy_set_header Authorization "Bearer ${GOOGLE_TOKEN}"; } }`;
}

/** Starts a program and resolves with the first line of its output that matches. */
export function startUntil(
  command: string,
  args: readonly string[],
  o: { pattern: RegExp; env?: NodeJS.ProcessEnv },
): Promise<{ child: ChildProcess; match: RegExpExecArray; said: readonly string[] }> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env: o.env ?? process.env });
    const said: string[] = [];
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on('line', (line) => {
        said.push(line);
        const match = o.pattern.exec(line);
        if (match !== null) resolve({ child, match, said });
      });
    }
    child.on('exit', (code) => reject(new Error(`${command} ended (${code}):\n${said.join('\n')}`)));
  });
}

/** Waits until `url` answers 200. */
export async function untilReady(
  url: string,
  o: { ca: string; headers: Readonly<Record<string, string>> },
): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt++) {
    const status = await new Promise<number>((resolve) => {
      const get = url.startsWith('https:') ? https.get : undefined;
      if (get === undefined)
        return void fetch(url, { headers: o.headers }).then(
          (r) => resolve(r.status),
          () => resolve(0),
        );
      const request = get(url, { ca: readFileSync(o.ca), headers: o.headers, agent: false }, (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      });
      request.on('error', () => resolve(0));
    });
    if (status === 200) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`${url} never answered 200`);
}

/** A daemon with one membership, whose gateway is `origin`. */
export async function startDaemon(o: {
  folder: string;
  origin: string;
  ca: string;
}): Promise<{ child: ChildProcess; contestant: Contestant; overHttp: Contestant }> {
  const { folder } = o;
  const tokenFile = join(folder, 'token');
  writeFileSync(tokenFile, GOOGLE_TOKEN, { mode: 0o600 });
  const config = join(folder, 'config.yaml');
  const state = join(folder, 'state');
  const port = await freePort();
  const hub = await freePort();
  writeFileSync(
    config,
    JSON.stringify({
      memberships: [{ name: 'projects/1/locations/global/memberships/bench', endpoint: o.origin, port }],
      identities: { default: { source: 'token-file', tokenFile } },
      endpoints: { caFile: o.ca },
      listen: { port: hub, http: await freePort() },
      stateDir: state,
      // Measured is what the daemon can do, not what Google allows.
      requests: { perMinute: 10_000_000 },
      log: { level: 'warn' },
    }),
  );
  mkdirSync(state, { mode: 0o700 });
  const main = join(process.cwd(), 'dist/main.js');
  const { child } = await startUntil(process.execPath, [main, 'run', '--config', config, '--log-level', 'info'], {
    pattern: /ready/,
  });
  const kubeconfig = (...flags: string[]): string =>
    execFileSync(process.execPath, [main, 'kubeconfig', '--stdout', '--config', config, ...flags], {
      encoding: 'utf8',
    });
  const [overTls, overHttp] = [kubeconfig(), kubeconfig('--http')];
  const value = (text: string, name: string): string => new RegExp(`${name}: "?([^"\\s]+)`).exec(text)?.[1] ?? '';
  writeFileSync(join(folder, 'daemon-ca.pem'), Buffer.from(value(overTls, 'certificate-authority-data'), 'base64'));
  const pids = (): number[] => [child.pid ?? 0];
  const headers = { Authorization: `Bearer ${value(overTls, 'token')}` };
  return {
    child,
    contestant: { name: 'daemon', url: value(overTls, 'server'), headers, pids },
    overHttp: { name: OVER_HTTP, url: value(overHttp, 'server'), headers: {}, pids },
  };
}
