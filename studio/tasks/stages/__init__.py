"""One flat file a training stage, named after its type. Each has these functions, called in this order:

- `template(name, tokenizer)`: the text of the chat template of the run, also kept in the tokenizer; "" for plain text;
- `prepare(setup)`: the rows, as `dataset.Prepared`;
- `load(setup)`: the model, before the method is applied to it;
- `build(setup, model, prepared, callbacks, meter)`: a trainer that is ready for `train()`, a `trainer.RunTrainer`.
"""
