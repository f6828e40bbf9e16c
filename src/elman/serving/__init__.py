"""Recurrent models as a service: sessions whose state is a value, batched across clients."""
