import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { processTree } from '../../src/emulator/pods/process-tree.js';
import type { HolderOpening } from '../../src/relays/survive/holder-frames.js';
import { holderWords } from '../../src/relays/survive/holder-frames.js';
import { LocalContainer, type LocalExec, type LocalSession } from '../support/local-exec.js';

/** What gives the terminal: Perl, Python, and `script` under dash and bash. */
const SETS = ['debian', 'python', 'script', 'bash'] as const;
const TTY: Partial<HolderOpening> = { tty: true, stderr: false };
const SHELL = ['bash', '--norc', '--noprofile', '-i'];

function stories(name: string, tell: (t: Test, container: LocalContainer) => Promise<void>): void {
  for (const set of SETS) {
    t.test(`${set}: ${name}`, async (t) => {
      const container = new LocalContainer(t.testdir({}), set, { env: { PS1: '> ' } });
      await tell(t, container);
      t.strictSame(container.leftovers, [], 'no folder is left');
    });
  }
}

/** A person at a terminal, whose connection can be cut. */
class Person {
  readonly session: LocalSession;
  exec: LocalExec;
  /** How much of it has been taken, as far as is known. */
  typed = 0;

  private constructor(session: LocalSession) {
    this.session = session;
    this.exec = session.exec();
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

  async cut(): Promise<void> {
    this.exec.cut();
    this.exec = this.session.exec();
    this.typed = (await this.exec.hold()).taken;
  }
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
  await person.sees(/sleep 100; echo/);
  await new Promise((resolve) => setTimeout(resolve, 300));
  person.type('\x03');
  await person.sees(/\^C/);
  person.type('echo code=$?\r');
  await person.sees(/code=130\r\n/);
  person.type('sleep 2\r');
  await person.sees(/> sleep 2\r\n/);
  await new Promise((resolve) => setTimeout(resolve, 300));
  person.type('\x1a');
  await person.sees(/Stopped +sleep 2/);
  await person.cut();
  person.type('fg; (exit 9)\r');
  await person.sees(/fg; \(exit 9\)\r\n[\s\S]*sleep 2\r\n[\s\S]*> $/);
  person.type('\x04');
  t.equal(await person.exec.finish(), 9);
});

stories('the client leaves: the terminal is hung up, with what runs in it', async (t, container) => {
  const person = await Person.at(container, SHELL);
  person.type('sleep 1000 & sleep 1001\r');
  await person.sees(/1001\r\n/);
  await new Promise((resolve) => setTimeout(resolve, 300));
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

stories('who ignores the hang-up goes on, without a terminal', async (t, container) => {
  const done = join(container.folder, 'done');
  const person = await Person.at(container, ['sh', '-c', `trap '' HUP; echo ready; sleep 2; echo $? > ${done}`]);
  await person.sees(/ready/);
  person.exec.send(holderWords.leave(0));
  await person.exec.next();
  while (container.leftovers.length > 0) await new Promise((resolve) => setTimeout(resolve, 20));
  t.notOk(existsSync(done), 'the folder is gone first');
  while (!existsSync(done)) await new Promise((resolve) => setTimeout(resolve, 20));
  await person.session.over();
});

stories('what it leaves behind does not hold the end up', async (t, container) => {
  const person = await Person.at(container, ['bash', '-c', 'nohup sleep 3 >/dev/null & exit 3']);
  const began = Date.now();
  t.equal(await person.exec.finish(), 3);
  t.ok(Date.now() - began < 2500);
});

stories('cut in the middle of characters and escape sequences', async (t, container) => {
  const text = '\x1b[31mgrün €𝄞 \x1b]0;title\x07\x1b[0m';
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
