import { tellStory } from './story.js';

tellStory('1.32', { memberships: ['datacenter'] });
