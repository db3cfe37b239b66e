/** What can be done from anywhere: the palette lists it. */
import AddBoard from '../parts/AddBoard.svelte';
import BridgeSheet from '../parts/BridgeSheet.svelte';
import { dialogs } from './dialogs.svelte.ts';
import { router } from './router.svelte.ts';
import { session } from './session.svelte.ts';

export interface Action {
  name: string;
  key?: string;
  role?: 'member' | 'manager' | 'admin';
  run: () => void;
}

export const actions: Action[] = [
  { name: 'Add a board', role: 'member', run: () => dialogs.show(AddBoard, {}) },
  { name: 'Bridge boards', role: 'member', run: () => dialogs.show(BridgeSheet, {}) },
  { name: 'Find boards', key: '/', run: () => router.go('boards') },
  { name: 'Log out', run: () => void session.logout() },
];
