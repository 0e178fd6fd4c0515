import { tellStory } from './story.js';

tellStory('1.30');
