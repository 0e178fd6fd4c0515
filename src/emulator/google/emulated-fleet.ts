import type { ClusterBackend } from '../cluster-backend.js';

/** A membership of the emulated fleet and the Kubernetes API behind it. */
export interface EmulatedMembership {
  readonly projectNumber: string;
  readonly projectId: string;
  readonly location: string;
  readonly id: string;
  readonly kind: 'gke' | 'attached' | 'multi-cloud' | 'on-prem';
  readonly backend: ClusterBackend;
  readonly uniqueId: string;
  /** READY when absent. */
  readonly state?: string;
  readonly clusterMissing?: boolean;
}

export interface EmulatedProject {
  readonly number: string;
  readonly id: string;
}

/** The memberships and the projects that they name. */
export class EmulatedFleet {
  #memberships: readonly EmulatedMembership[] = [];

  constructor(memberships: readonly EmulatedMembership[]) {
    this.set(memberships);
  }

  set(memberships: readonly EmulatedMembership[]): void {
    this.#memberships = [...memberships].sort((a, b) => (pathOf(a) < pathOf(b) ? -1 : 1));
  }

  /** By project number or id. A project that lost its last membership is gone too. */
  project(name: string): EmulatedProject | undefined {
    const member = this.#memberships.find((m) => m.projectNumber === name || m.projectId === name);
    return member === undefined ? undefined : { number: member.projectNumber, id: member.projectId };
  }

  /** In the order of their names; `location` may be `-` for all. */
  list(project: EmulatedProject, location: string): readonly EmulatedMembership[] {
    return this.#memberships.filter(
      (m) => m.projectNumber === project.number && (location === '-' || m.location === location),
    );
  }

  find(project: string, location: string, id: string): EmulatedMembership | undefined {
    return this.#memberships.find(
      (m) => m.id === id && m.location === location && (m.projectNumber === project || m.projectId === project),
    );
  }
}

/** `projects/demo-project/locations/global/memberships/prod`. */
export function pathOf(m: EmulatedMembership): string {
  return `projects/${m.projectId}/locations/${m.location}/memberships/${m.id}`;
}

/** The URL collection that reaches the cluster: GKE clusters need no agent, and have one of their own. */
export function collectionOf(m: EmulatedMembership): 'gkeMemberships' | 'memberships' {
  return m.kind === 'gke' ? 'gkeMemberships' : 'memberships';
}
