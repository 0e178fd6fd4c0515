import type { Command, Option } from 'commander';

/** One command as completion sees it. */
export interface Verb {
  /** Empty for the program itself. */
  readonly path: readonly string[];
  readonly description: string;
  readonly options: readonly VerbOption[];
  /** What its first argument is: the name of a membership, one of a few words, or nothing that can be completed. */
  readonly argument: 'membership' | readonly string[];
  readonly children: readonly Verb[];
}

export interface VerbOption {
  /** `-o`, `--output` */
  readonly names: readonly string[];
  readonly description: string;
  /** Absent for a switch. `required`: the next word is always the value. */
  readonly value?: { readonly required: boolean; readonly kind: 'file' | 'other' | readonly string[] };
}

const FILES = /^(?:FILE|FOLDER)$/;

/** Everything that `--help` shows, so that the two cannot differ. */
export function verbsOf(command: Command, path: readonly string[] = []): Verb {
  const help = command.createHelp();
  const [argument] = command.registeredArguments;
  return {
    path,
    description: firstClause(help.commandDescription(command)),
    options: help.visibleOptions(command).map(optionOf),
    argument: argument?.name() === 'membership' ? 'membership' : (argument?.argChoices ?? []),
    children: help.visibleCommands(command).map((child) => verbsOf(child, [...path, child.name()])),
  };
}

/** The verb and all below it. */
export function allVerbs(verb: Verb): Verb[] {
  return [verb, ...verb.children.flatMap(allVerbs)];
}

function optionOf(option: Option): VerbOption {
  const names = [option.short, option.long].filter((name) => name !== undefined);
  const description = firstClause(option.description);
  if (!option.required && !option.optional) return { names, description };
  const value = /[<[]([^>\]]*)/.exec(option.flags)?.[1] ?? '';
  const kind = option.argChoices ?? (FILES.test(value) ? ('file' as const) : ('other' as const));
  return { names, description, value: { required: option.required, kind } };
}

/** Menus have one short line for each. */
function firstClause(text: string): string {
  return text.split(/[;\n]/)[0] ?? '';
}
