"""The browser's view. The only place for gradio; it knows no setting by name and imports no torch."""
