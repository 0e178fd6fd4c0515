import type { Command } from 'commander';
import { stringify } from 'yaml';
import { CodedError, UsageError } from '../base/errors.js';
import { namedAccount } from '../daemon/account-names.js';
import type { MembershipView } from '../daemon/served-fleet.js';
import type { AccessQuestion, RbacManifest, RbacScope, RbacSubject } from '../kubernetes/rbac-manifests.js';
import {
  accessReview,
  CONNECT_AGENT,
  impersonationManifests,
  impersonationQuestion,
  streamManifests,
  streamQuestions,
} from '../kubernetes/rbac-manifests.js';
import { isOlder } from '../kubernetes/version.js';
import { type DaemonBeside, daemonBeside } from './beside.js';
import type { CommandIo } from './io.js';
import { membershipByName } from './membership-by-name.js';
import { outputOption } from './memberships.js';
import { messageOf } from './message-of.js';
import { addSettingOptions } from './settings-options.js';
import { table } from './table.js';

interface RbacOptions {
  readonly user?: string;
  readonly group?: string;
  readonly serviceAccount?: string;
  readonly namespace?: string;
  readonly clusterWide?: true;
  readonly streamsOnly?: true;
  readonly impersonate?: true;
  readonly check?: string;
  readonly output: string;
}

const EXAMPLES = `
Examples:
  Let a user exec, attach, cp and port-forward in one namespace:
  $ connect-gateway-proxy rbac --user dev@example.com --namespace web --streams-only | kubectl apply -f -
  Let a group do so everywhere, and the Connect agent of a cluster outside Google Cloud act for it:
  $ connect-gateway-proxy rbac --group developers@example.com --cluster-wide | kubectl apply -f -
  Let the Connect agent act for a Google service account:
  $ connect-gateway-proxy rbac --service-account ci@my-project.iam.gserviceaccount.com --impersonate
  See what the daemon's own identity, or somebody else, lacks in membership prod (exit code 1 when it is anything):
  $ connect-gateway-proxy rbac --check prod --namespace web
  $ connect-gateway-proxy rbac --check prod --cluster-wide --user dev@example.com
`;

export function addRbac(program: Command, io: CommandIo, setExitCode: (code: number) => void): void {
  const command = program
    .command('rbac')
    .description('print the RBAC that streams and the Connect agent need, or --check a cluster for it')
    .option('--user <EMAIL>', 'for a user, or a principal:// of workforce identity')
    .option('--group <NAME>', 'for a group')
    .option('--service-account <NAME>', 'for a Google service account (e-mail), or one of Kubernetes (NAMESPACE/NAME)')
    .option('-n, --namespace <NAMESPACE>', 'streams in this namespace')
    .option('--cluster-wide', 'streams in every namespace')
    .option('--streams-only', 'only the rights to exec, attach, cp and port-forward')
    .option('--impersonate', 'only the right of the Connect agent to act for somebody (clusters outside Google Cloud)')
    .option('--check <MEMBERSHIP>', 'ask the cluster through the daemon what is missing, and print nothing to apply')
    .addOption(outputOption())
    .addHelpText('after', EXAMPLES)
    .action(async (options: RbacOptions) => {
      const subject = subjectOf(options);
      if (options.check === undefined) {
        if (subject === undefined) throw new UsageError('for whom? name --user, --group or --service-account');
        const manifests = manifestsOf(options, subject, scopeOf(options));
        io.out(options.output === 'json' ? listOf(manifests) : manifests.map(document).join('---\n'));
        return;
      }
      const findings = await check(
        daemonBeside(command, io),
        { ...options, membership: options.check },
        subject,
        scopeOf(options),
      );
      const missing = findings.filter(({ result }) => result === 'missing');
      setExitCode(missing.length === 0 ? 0 : 1);
      if (options.output === 'json') io.out(`${JSON.stringify({ findings }, null, 2)}\n`);
      else io.out(table(['RESULT', 'WHO', 'VERB', 'RESOURCE', 'NAMESPACE', 'NOTE'], findings.map(row)));
      if (missing.length > 0 && options.output !== 'json') io.err(advice(options, missing));
    });
  addSettingOptions(command, 'beside');
}

/** Throws a UsageError. */
function subjectOf({ user, group, serviceAccount }: RbacOptions): RbacSubject | undefined {
  if ([user, group, serviceAccount].filter((given) => given !== undefined).length > 1) {
    throw new UsageError('choose one of --user, --group and --service-account');
  }
  if (user !== undefined) return { kind: 'User', name: user };
  if (group !== undefined) return { kind: 'Group', name: group };
  if (serviceAccount === undefined) return undefined;
  // Through the gateway a Google service account is a user like any other.
  if (serviceAccount.includes('@')) return { kind: 'User', name: serviceAccount };
  const [namespace = '', name = '', ...more] = serviceAccount.split('/');
  if (namespace === '' || name === '' || more.length > 0) {
    throw new UsageError(`--service-account ${serviceAccount}: expected an e-mail address or NAMESPACE/NAME`);
  }
  return { kind: 'ServiceAccount', namespace, name };
}

/** Throws a UsageError. Undefined where no streams are asked for. */
function scopeOf({ namespace, clusterWide, streamsOnly, impersonate }: RbacOptions): RbacScope | undefined {
  if (streamsOnly && impersonate) throw new UsageError('choose one of --streams-only and --impersonate');
  if (namespace !== undefined && clusterWide) throw new UsageError('choose one of --namespace and --cluster-wide');
  if (impersonate) return undefined;
  if (clusterWide) return 'cluster';
  if (namespace !== undefined) return { namespace };
  throw new UsageError('where? name --namespace or --cluster-wide (or --impersonate, which needs neither)');
}

function manifestsOf(options: RbacOptions, subject: RbacSubject, scope: RbacScope | undefined): RbacManifest[] {
  return [
    ...(scope === undefined ? [] : streamManifests(subject, scope)),
    ...(options.streamsOnly ? [] : impersonationManifests(subject)),
  ];
}

function document(manifest: RbacManifest): string {
  return stringify(manifest, { lineWidth: 0 });
}

function listOf(items: readonly RbacManifest[]): string {
  return `${JSON.stringify({ apiVersion: 'v1', kind: 'List', items }, null, 2)}\n`;
}

/** `later`: missing, and asked for by newer clusters only. */
interface Finding {
  readonly result: 'ok' | 'missing' | 'later';
  readonly who: string;
  readonly question: AccessQuestion;
  readonly note?: string;
}

async function check(
  daemon: DaemonBeside,
  options: RbacOptions & { readonly membership: string },
  subject: RbacSubject | undefined,
  scope: RbacScope | undefined,
): Promise<Finding[]> {
  const membership = membershipByName(await daemon.memberships(), options.membership);
  const ask = (question: AccessQuestion, who?: RbacSubject): Promise<boolean> =>
    askReview(daemon, { membership, question, ...(who === undefined ? {} : { who }) });
  const findings: Finding[] = [];
  for (const question of scope === undefined ? [] : streamQuestions(scope)) {
    const allowed = await ask(question, subject);
    const later = !allowed && question.since !== undefined && isOlder(membership.kubernetesVersion, question.since);
    findings.push({
      result: allowed ? 'ok' : later ? 'later' : 'missing',
      who: subject?.name ?? membership.principal,
      question,
      ...(later
        ? { note: `asked for from Kubernetes ${question.since}, this is ${membership.kubernetesVersion}` }
        : {}),
    });
  }
  if (options.streamsOnly) return findings;
  const agent = `${CONNECT_AGENT.namespace}/${CONNECT_AGENT.name}`;
  if (subject === undefined) {
    const name = namedAccount(membership.principal);
    const question = { verb: 'impersonate', resource: 'users', ...(name === undefined ? {} : { name }) };
    // An answer that has come is one that the agent was let to ask for.
    if (scope === undefined) await ask({ verb: 'get', resource: 'pods' });
    findings.push({ result: 'ok', who: agent, question, note: 'the cluster answers this identity' });
    return findings;
  }
  const question = impersonationQuestion(subject);
  if (membership.kind === 'gke') {
    findings.push({ result: 'ok', who: agent, question, note: 'GKE clusters need no agent' });
  } else {
    findings.push({ result: (await ask(question, CONNECT_AGENT)) ? 'ok' : 'missing', who: agent, question });
  }
  return findings;
}

async function askReview(
  daemon: DaemonBeside,
  o: { membership: MembershipView; question: AccessQuestion; who?: RbacSubject },
): Promise<boolean> {
  const { membership, question, who } = o;
  const kind = who === undefined ? 'selfsubjectaccessreviews' : 'subjectaccessreviews';
  const { status, body } = await daemon.callMembership(membership, `/apis/authorization.k8s.io/v1/${kind}`, {
    method: 'POST',
    body: JSON.stringify(accessReview(question, who)),
  });
  if (status !== 200 && status !== 201) {
    const hint =
      who === undefined || status !== 403 ? '' : ' (only an administrator of the cluster may ask for others)';
    throw new CodedError({
      code: 'rbac-check-refused',
      message: `${membership.alias} did not answer who may what${hint}: ${messageOf(body) ?? `HTTP ${status}`}`,
    });
  }
  return (JSON.parse(body) as { status?: { allowed?: boolean } }).status?.allowed === true;
}

function row({ result, who, question, note }: Finding): string[] {
  const { verb, resource, subresource, name, namespace } = question;
  const what = [resource, subresource].filter((part) => part !== undefined).join('/');
  return [result, who, verb, name === undefined ? what : `${what} ${name}`, namespace ?? '*', note ?? ''];
}

/** The command that grants what is missing. */
function advice(options: RbacOptions, missing: readonly Finding[]): string {
  const { user, group, serviceAccount, namespace } = options;
  const streams = missing.some(({ question }) => question.verb !== 'impersonate');
  const agent = missing.some(({ question }) => question.verb === 'impersonate');
  const self = missing.map(({ who }) => namedAccount(who)).find((account) => account !== undefined);
  const who =
    group !== undefined
      ? `--group ${group}`
      : serviceAccount !== undefined
        ? `--service-account ${serviceAccount}`
        : `--user ${user ?? self ?? 'EMAIL'}`;
  const where = streams ? ` ${namespace === undefined ? '--cluster-wide' : `--namespace ${namespace}`}` : '';
  const part = streams && agent ? '' : streams ? ' --streams-only' : ' --impersonate';
  return `\n${missing.length} missing; an administrator of the cluster grants them with:\n  connect-gateway-proxy rbac ${who}${where}${part} | kubectl apply -f -\n`;
}
