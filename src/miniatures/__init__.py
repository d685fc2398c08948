"""The miniature family: a closed world, languages that render it exactly, and models trained on it.

Public entry points, in the order in which one uses them:

- `world.read_world()` and `World.say(meaning, language)`: meanings and how each language says them;
- `items.evaluation_rows`, `items.draw_pair`: evaluation rows and finetuning examples; `corpus.document`: pretraining;
- `files.write_files()`: the data files derived from the world; `clones.main()`: the columns of the clones;
- `recipe.train(members, folder, seed, quick)`: train what is missing; `recipe.MEMBERS`: what there is;
- `scores.summary(folder)`, `card.write_card(folder)`: what a member can do, and its card.

It is a test bed for instruments and for teaching, and no evidence about BLOOMZ or mT0.
"""
