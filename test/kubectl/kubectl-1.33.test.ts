import { tellStory } from './story.js';

tellStory('1.33', { everyMembership: true });
