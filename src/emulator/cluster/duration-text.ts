/** As kubectl and the API server print ages: `5s`, `3m20s`, `7h12m`, `2d3h`, `400d`, `2y36d`. */
export function ageText(ms: number): string {
  const seconds = Math.trunc(ms / 1000);
  // A second of disagreement between clocks is nothing to speak of.
  if (seconds < -1) return '<invalid>';
  if (seconds < 0) return '0s';
  if (seconds < 120) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 10) return withRest(minutes, 'm', seconds % 60, 's');
  if (minutes < 180) return `${minutes}m`;
  const hours = Math.floor(minutes / 60);
  if (hours < 8) return withRest(hours, 'h', minutes % 60, 'm');
  if (hours < 48) return `${hours}h`;
  const days = Math.floor(hours / 24);
  if (days < 8) return withRest(days, 'd', hours % 24, 'h');
  if (days < 730) return `${days}d`;
  const years = Math.floor(days / 365);
  return years < 8 ? withRest(years, 'y', days % 365, 'd') : `${years}y`;
}

function withRest(amount: number, unit: string, rest: number, restUnit: string): string {
  return rest === 0 ? `${amount}${unit}` : `${amount}${unit}${rest}${restUnit}`;
}

/** The age of a moment that an object tells (RFC 3339), `<unknown>` when it tells none. */
export function ageSince(moment: unknown, now: number): string {
  const then = typeof moment === 'string' ? Date.parse(moment) : Number.NaN;
  return Number.isNaN(then) ? '<unknown>' : ageText(now - then);
}
