"""One flat file a training method, named after its type with _ for -: what of a model is trained.

Each has `apply(model, method, workspace, notice)`, which returns the model with the right parameters trainable;
`method` is the plan's `method`, with the folder of the checkpoint that the run goes on from, or None, as `checkpoint`.
A model whose adapter lies on the disk otherwise than peft writes it carries an object `stored_form` with
`write(folder)` and `read(folder)`. Where a method needs more it has some of these too, which the run then calls:

- `callbacks(model, method, plan)`: callbacks of the trainer;
- `begin(trainer, method, notice)`: before the first step of a run that is not resumed;
- `finish(trainer, method, folder, notice)`: when the result stands in `folder`.
"""
