def evaluate(folder, request):
    return None
