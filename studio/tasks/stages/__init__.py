"""One flat file a training stage: from tokenized rows and a model to a trainer that is ready to run."""
