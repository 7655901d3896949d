"""Which further arguments the trainer takes, and which of them Studio sets from fields of its own.

A snapshot of the field names that all trainers share at the pinned versions, so that a config is checked without
importing torch; `stage_trainer_arguments` has those of each stage. A test compares both with the installed trainers.
"""

from __future__ import annotations

# Arguments that a field of the config stands for: the trainer's name -> the field.
FIELD_OF_ARGUMENT: dict[str, str] = {
    "activation_checkpointing": "optimisation.gradient_checkpointing",
    "bf16": "optimisation.precision",
    "dataset_num_proc": "data.tokenizing_processes",
    "eval_steps": "cadence.eval_steps",
    "eval_strategy": "cadence.eval_steps",
    "fp16": "optimisation.precision",
    "gradient_accumulation_steps": "optimisation.gradient_accumulation_steps",
    "gradient_checkpointing": "optimisation.gradient_checkpointing",
    "learning_rate": "optimisation.learning_rate",
    "load_best_model_at_end": "cadence.load_best_model_at_end",
    "logging_steps": "cadence.logging_steps",
    "logging_strategy": "cadence.logging_steps",
    "lr_scheduler_kwargs": "optimisation.lr_scheduler_kwargs",
    "lr_scheduler_type": "optimisation.lr_scheduler_type",
    "max_grad_norm": "optimisation.max_grad_norm",
    "max_length": "data.cutoff_len",
    "max_steps": "optimisation.max_steps",
    "neftune_noise_alpha": "optimisation.neftune_noise_alpha",
    "num_train_epochs": "optimisation.num_train_epochs",
    "optim": "optimisation.optimizer",
    "optim_args": "optimisation.optimizer_arguments",
    "optim_target_modules": "optimisation.optimizer_target_modules",
    "packing": "data.packing",
    "per_device_eval_batch_size": "cadence.per_device_eval_batch_size",
    "per_device_train_batch_size": "optimisation.per_device_train_batch_size",
    "report_to": "trackers.report_to",
    "run_name": "name",
    "save_steps": "cadence.save_steps",
    "save_strategy": "cadence.save_steps",
    "save_total_limit": "cadence.save_total_limit",
    "seed": "seed",
    "tf32": "optimisation.tf32",
    "torch_compile": "optimisation.torch_compile",
    "train_sampling_strategy": "optimisation.group_by_length",
    "trust_remote_code": "model.trust_remote_code",
    "use_cpu": "devices.use",
    "use_liger_kernel": "optimisation.liger_kernel",
    "warmup_steps": "optimisation.warmup_steps",
    "weight_decay": "optimisation.weight_decay",
}

# Arguments on which the durability of a run, its data or its safety rests: nobody else sets them.
FORBIDDEN_ARGUMENTS: frozenset[str] = frozenset(
    {
        "assistant_only_loss",
        "chat_template_path",
        "completion_only_loss",
        "dataset_kwargs",
        "dataset_text_field",
        "disable_tqdm",
        "enable_jit_checkpoint",
        "gradient_checkpointing_kwargs",
        "hub_token",
        "ignore_data_skip",
        "logging_nan_inf_filter",
        "model_init_kwargs",
        "output_dir",
        "push_to_hub",
        "remove_unused_columns",
        "restore_callback_states_from_checkpoint",  # it would bring "stop now" back into a resumed run
        "resume_from_checkpoint",
        "save_only_model",
        "truncation_mode",
    }
)

# Arguments that pass through under their own names.
FREE_ARGUMENTS: frozenset[str] = frozenset(
    """
    accelerator_config activation_checkpointing_kwargs adam_beta1 adam_beta2 adam_epsilon auto_find_batch_size
    average_tokens_across_devices batch_eval_metrics bf16_full_eval data_seed dataloader_drop_last
    dataloader_in_order dataloader_multiprocessing_context dataloader_num_workers dataloader_persistent_workers
    dataloader_pin_memory dataloader_prefetch_factor ddp_backend ddp_broadcast_buffers ddp_bucket_cap_mb
    ddp_find_unused_parameters ddp_static_graph ddp_timeout debug deepspeed do_eval do_predict do_train
    eval_accumulation_steps eval_delay eval_do_concat_batches eval_on_start eval_use_gather_object fp16_full_eval
    fsdp fsdp_config full_determinism greater_is_better hub_always_push hub_model_id hub_private_repo hub_revision
    hub_strategy include_for_metrics include_num_input_tokens_seen label_names label_smoothing_factor
    length_column_name liger_kernel_config local_rank log_level log_level_replica log_on_each_node
    logging_first_step metric_for_best_model parallelism_config prediction_loss_only project save_on_each_node
    skip_memory_metrics torch_compile_backend torch_compile_mode torch_empty_cache_steps trackio_bucket_id
    trackio_space_id trackio_static_space_id use_cache
    """.split()
)
