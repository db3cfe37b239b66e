import './theme.css';
import '@xterm/xterm/css/xterm.css';
import { mount } from 'svelte';
import Term from './Term.svelte';
import { settings } from './lib/settings.svelte.ts';

settings.apply();
mount(Term, { target: document.getElementById('app')! });
