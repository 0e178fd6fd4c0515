/** What commands need to know of accounts; apart, so that those that start quickly need not load the rest of the Google side. */
export { iamMember, namedAccount } from '../credentials/principal.js';
