import { Argument, type Command, Option } from 'commander';
import { UsageError } from '../base/errors.js';
import { daemonBeside } from './beside.js';
import { bashCompletion } from './completion/bash.js';
import { fishCompletion } from './completion/fish.js';
import { type Verb, verbsOf } from './completion/verbs.js';
import { zshCompletion } from './completion/zsh.js';
import type { CommandIo } from './io.js';
import { addSettingOptions } from './settings-options.js';

const SHELLS: Readonly<Record<string, (root: Verb) => string>> = {
  bash: bashCompletion,
  zsh: zshCompletion,
  fish: fishCompletion,
};
/** A shell expands what it is given; aliases look like this anyway. */
const PLAIN = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;

export function addCompletion(program: Command, io: CommandIo): void {
  const command = program
    .command('completion')
    .description('print the completion script of a shell')
    .addArgument(new Argument('[shell]', 'whose').choices(Object.keys(SHELLS)))
    .addOption(new Option('--list', 'print the names that the running daemon serves').hideHelp())
    .action(async (shell: string | undefined, options: { list?: true }) => {
      if (options.list) {
        const names = (await daemonBeside(command, io).memberships()).map(({ alias }) => alias);
        io.out(
          names
            .filter((name) => PLAIN.test(name))
            .map((name) => `${name}\n`)
            .join(''),
        );
        return;
      }
      const render = SHELLS[shell ?? ''];
      if (render === undefined) throw new UsageError(`completion: name a shell: ${Object.keys(SHELLS).join(', ')}`);
      io.out(render(verbsOf(program)));
    });
  addSettingOptions(command, 'beside');
}
