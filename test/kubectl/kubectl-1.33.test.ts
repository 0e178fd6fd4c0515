import { tellStory } from './story.js';

tellStory('1.33', { portForward: true });
