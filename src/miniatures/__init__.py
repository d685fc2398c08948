"""The miniature family: a closed world, languages that render it exactly, and models trained on it.

Public entry points, in order of use:

- `world.read_world()` and `World.say(meaning, language)`: meanings and their sentences in each language;
- `items.evaluation_rows`, `items.draw_text`: evaluation rows and texts for the mixtures; `corpus.document`: pretraining;
- `files.write_files()`: the data files derived from the world; `clones.main()`: the columns of the clones;
- `recipe.train(members, folder, seed, quick)`: train what is missing; `recipe.MEMBERS`: the members;
- `scores.summary(folder)`, `card.write_card(folder)`: the accuracy of a member, and its card.

It is a test bed for instruments and for teaching, and no evidence about BLOOMZ or mT0.
"""
