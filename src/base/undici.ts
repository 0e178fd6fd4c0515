import type { Dispatcher } from 'undici';

/**
 * The way to Google's APIs, by undici: on first use, because its import alone takes a quarter of a start, and a daemon is
 * ready without it.
 */
export type DispatcherSource = () => Promise<Dispatcher>;

export const loadUndici = (): Promise<typeof import('undici')> => import('undici');
