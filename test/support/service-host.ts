import type { Outcome, ServiceHost } from '../../src/commands/service/host.js';

/** A machine whose service manager is a table of answers. */
export interface FakeHost extends ServiceHost {
  /** Every command that was run, as one line. */
  readonly commands: string[];
  readonly inputs: string[];
  readonly detached: (readonly string[])[];
  /** By the beginning of the command line; the longest match counts. Everything else succeeds in silence. */
  readonly answers: Map<string, Partial<Outcome> | ((input: string | undefined) => Partial<Outcome>)>;
}

export function fakeHost(o: {
  home: string;
  platform?: NodeJS.Platform;
  env?: Record<string, string>;
  user?: string;
}): FakeHost {
  const answers: FakeHost['answers'] = new Map();
  const host: FakeHost = {
    platform: o.platform ?? 'linux',
    home: o.home,
    env: o.env ?? {},
    uid: 501,
    user: o.user ?? 'dev',
    commands: [],
    inputs: [],
    detached: [],
    answers,
    run: async (command, args, input) => {
      const line = [command, ...args].join(' ');
      host.commands.push(line);
      if (input !== undefined) host.inputs.push(input);
      const key = [...answers.keys()].filter((start) => line.startsWith(start)).sort((a, b) => b.length - a.length)[0];
      const answer = key === undefined ? {} : answers.get(key);
      return { code: 0, stdout: '', stderr: '', ...(typeof answer === 'function' ? answer(input) : answer) };
    },
    attach: async (command, args) => {
      host.commands.push([command, ...args].join(' '));
      return 0;
    },
    startDetached: (words) => void host.detached.push(words),
  };
  return host;
}
