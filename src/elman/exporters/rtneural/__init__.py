"""RTNeural: a model as the JSON that plug-ins load."""
