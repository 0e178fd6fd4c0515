import { tellStory } from './story.js';

tellStory('1.33', { memberships: ['prod', 'edge-store', 'datacenter'] });
