import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import t from 'tap';
import { processTree } from '../../src/emulator/pods/process-tree.js';
import type { HolderOpening } from '../../src/relays/survive/holder-frames.js';
import { holderWords } from '../../src/relays/survive/holder-frames.js';
import { containerStories } from '../support/container-stories.js';
import { LocalContainer, type LocalExec, type LocalSession } from '../support/local-exec.js';

/** What gives the terminal: Perl, Python, and `script` under dash and bash. */
const SETS = ['debian', 'python', 'script', 'bash'] as const;
const TTY: Partial<HolderOpening> = { tty: true, stderr: false };
const SHELL = ['bash', '--norc', '--noprofile', '-i'];

const stories = containerStories(SETS, { env: { PS1: '> ' } });

/** A person at a terminal, whose connection can be cut. */
class Person {
  readonly session: LocalSession;
  exec: LocalExec;
  readonly #first: LocalExec;
  /** How much of it has been taken, as far as is known. */
  typed = 0;

  private constructor(session: LocalSession) {
    this.session = session;
    this.exec = session.exec();
    this.#first = this.exec;
  }

  static async at(container: LocalContainer, command: readonly string[]): Promise<Person> {
    const person = new Person(container.session(command, TTY));
    await person.exec.hold();
    person.exec.send(holderWords.size(101, 32));
    return person;
  }

  type(text: string): void {
    this.exec.input(this.typed, text);
    this.typed += Buffer.byteLength(text, 'latin1');
  }

  async sees(pattern: RegExp): Promise<void> {
    await this.exec.until(pattern);
  }

  /** A process of this name has been started at the terminal. */
  async runs(...command: string[]): Promise<void> {
    const wanted = `${command.join('\0')}\0`;
    while (!commandLines(this.#first.child.pid ?? 0).includes(wanted)) await setTimeout(10);
  }

  async cut(): Promise<void> {
    this.exec.cut();
    this.exec = this.session.exec();
    this.typed = (await this.exec.hold()).taken;
  }
}

function commandLines(root: number): string[] {
  return processTree(root).map((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'latin1');
    } catch {
      return '';
    }
  });
}

t.test('busybox: there is no terminal to be had, and the command is run without us', async (t) => {
  const container = new LocalContainer(t.testdir({}), 'busybox');
  const exec = container.session(['sh'], TTY).exec();
  t.strictSame(await exec.next(), { kind: 'plain', reason: 'no-pty' });
  await exec.exited;
  t.strictSame(container.leftovers, []);
});

stories('a shell keeps its variables, folder, size and job over cuts', async (t, container) => {
  const person = await Person.at(container, SHELL);
  person.type('X=42; cd /var; sleep 100 & stty size; tty; echo $TERM\r');
  await person.sees(/32 101\r\n\/dev\/pts\/\d+\r\nxterm\r\n/);
  await person.cut();
  person.exec.send(holderWords.size(80, 24));
  person.type('echo x=$X $PWD $(jobs | grep -c Running) $(stty size)\r');
  await person.sees(/x=42 \/var 1 24 80\r\n/);
  await person.cut();
  person.type('kill %1; exit 5\r');
  t.equal(await person.exec.finish(), 5);
});

stories('Ctrl-C, Ctrl-Z, fg and Ctrl-D', async (t, container) => {
  const person = await Person.at(container, SHELL);
  person.type('sleep 100; echo code=$?\r');
  await person.runs('sleep', '100');
  person.type('\x03');
  await person.sees(/\^C/);
  person.type('echo code=$?\r');
  await person.sees(/code=130\r\n/);
  person.type('sleep 200\r');
  await person.runs('sleep', '200');
  person.type('\x1a');
  await person.sees(/Stopped +sleep 200/);
  await person.cut();
  person.type('fg\r');
  await person.sees(/fg\r\n[\s\S]*sleep 200\r\n/);
  person.type('\x03');
  await person.sees(/sleep 200\r\n\^C[\s\S]*> $/);
  person.type('(exit 9)\r');
  await person.sees(/\(exit 9\)\r\n[\s\S]*> $/);
  person.type('\x04');
  t.equal(await person.exec.finish(), 9);
});

stories('the client leaves: the terminal is hung up, with what runs in it', async (t, container) => {
  const person = await Person.at(container, SHELL);
  person.type('sleep 1000 & sleep 1001\r');
  await person.runs('sleep', '1001');
  const tree = processTree(person.exec.child.pid ?? 0);
  t.ok(tree.length >= 5, 'a shell, a holder, a shell and two children');
  person.exec.send(holderWords.leave(0));
  t.match(await person.exec.next(), { kind: 'bye' });
  await person.session.over();
  const alive = tree.filter(
    (pid) => existsSync(`/proc/${pid}`) && !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'latin1')),
  );
  t.strictSame(alive, []);
});

stories('the client leaves before the terminal is there: nothing is left', async (t, container) => {
  for (let i = 0; i < 8; i++) {
    const session = container.session(['sleep', '1003'], TTY);
    const exec = session.exec();
    await exec.hold();
    exec.send(holderWords.leave(0));
    t.match(await exec.next(), { kind: 'bye' });
    await session.over();
  }
});

stories('who ignores the hang-up goes on, without a terminal', async (_, container) => {
  const [go, done] = [join(container.folder, 'go'), join(container.folder, 'done')];
  const script = `trap '' HUP; echo ready; until [ -e ${go} ]; do sleep 0.1; done; echo on > ${done}`;
  const person = await Person.at(container, ['sh', '-c', script]);
  await person.sees(/ready/);
  person.exec.send(holderWords.leave(0));
  await person.exec.next();
  while (container.leftovers.length > 0) await setTimeout(20);
  writeFileSync(go, '');
  while (!existsSync(done)) await setTimeout(20);
  await person.session.over();
});

stories('what it leaves behind does not hold the end up', async (t, container) => {
  const person = await Person.at(container, ['bash', '-c', 'nohup sleep 1002 >/dev/null & echo $!; exit 3']);
  t.equal(await person.exec.finish(), 3);
  process.kill(Number(/\d+/.exec(person.session.text())?.[0]));
});

stories('cut in the middle of characters and escape sequences', async (t, container) => {
  const text = '\x1b[1mü€𝄞\x1b]0;t\x07\x1b[0m';
  const octal = [...Buffer.from(text)].map((byte) => `\\0${byte.toString(8)}`);
  const slowly = octal.map((byte) => `printf '%b' '${byte}'; read -r a`).join('; ');
  const person = await Person.at(container, ['sh', '-c', `stty -echo; ${slowly}`]);
  const bytes = Buffer.from(text).toString('latin1');
  for (let n = 1; n <= octal.length; n++) {
    while (person.session.received.out < n) await person.session.wakeup();
    if (n % 3 === 0) await person.cut();
    person.type('\r');
  }
  await person.exec.finish();
  t.equal(person.session.text(), bytes);
});

stories('a paste of 100 kB, cut in the middle', async (t, container) => {
  const paste = Array.from({ length: 1000 }, (_, i) => `${String(i).padStart(99, '.')}\n`).join('');
  const person = await Person.at(container, [
    'sh',
    '-c',
    'stty -echo; echo ready; head -c 100000 | sha256sum; stty echo',
  ]);
  await person.sees(/ready/);
  let at = 0;
  for (const end of [30_000, 31_234, 60_000, 100_000]) {
    person.type(paste.slice(at, end));
    await person.cut();
    at = person.typed;
  }
  person.type(paste.slice(at));
  t.equal(await person.exec.finish(), 0);
  t.match(person.session.text(), createHash('sha256').update(paste).digest('hex'));
});

stories('much output of a terminal over many cuts', async (t, container) => {
  const MANY = 60_000;
  const person = await Person.at(container, ['seq', String(MANY)]);
  for (let cuts = 1; cuts <= 5; cuts++) {
    while (person.session.received.out < cuts * 50_000) await person.session.wakeup();
    await person.cut();
  }
  t.equal(await person.exec.finish(), 0);
  const expected = execFileSync('seq', [String(MANY)], { encoding: 'latin1' }).replaceAll('\n', '\r\n');
  t.ok(person.session.text() === expected, 'every byte once, in order');
});

stories('it is a terminal as a runtime gives one', async (t, container) => {
  const person = await Person.at(container, ['sh', '-c', 'stty -a; ps -o pid=,sid=,pgid=,tpgid=,tty= -p $$']);
  t.equal(await person.exec.finish(), 0);
  const text = person.session.text();
  for (const setting of ['icanon', 'echo', 'isig', 'onlcr', 'icrnl', 'opost', 'ixon', 'iexten', 'echoctl']) {
    t.match(text, new RegExp(`(^|\\s)${setting}\\b`), setting);
  }
  const [pid, sid, pgid, tpgid, tty] = (text.trim().split('\r\n').at(-1) ?? '').trim().split(/ +/);
  t.strictSame([sid, pgid, tpgid], [pid, pid, pid], 'it leads its session and is in the foreground');
  t.match(tty, /^pts\/\d+$/, 'which the terminal controls');
});
