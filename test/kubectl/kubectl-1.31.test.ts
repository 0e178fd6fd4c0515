import { tellStory } from './story.js';

tellStory('1.31', { memberships: ['edge-store'] });
